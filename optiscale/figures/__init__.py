"""Every picture of a study, drawn from frames, arrays and fits; nothing here trains or fits."""
