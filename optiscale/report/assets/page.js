// The page's own script: draws the figures in the reader's theme, switches scales, sorts tables. Asks no network.
(function () {
  "use strict";
  var store = JSON.parse(document.getElementById("figures").textContent);
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var narrow = window.matchMedia("(max-width: 40rem)");
  // Named one by one: what plotly adds by itself may offer to send the data away.
  var config = { displaylogo: false, responsive: true, showTips: false, modeBarButtons: [["toImage", "resetScale2d"]] };
  var printing = false;
  document.documentElement.classList.add("js");

  function css(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

  // A deep copy in the colours of the theme.
  function themed(value) {
    if (typeof value === "string") {
      if (!dark.matches || printing) { return value; }
      return store.dark[value.toLowerCase()] || value.replace(/^rgba\(0,0,0,(?=0\.)/, "rgba(223,227,232,");
    }
    if (Array.isArray(value)) { return value.map(themed); }
    if (value && typeof value === "object") {
      var copy = {};
      Object.keys(value).forEach(function (key) { copy[key] = themed(value[key]); });
      return copy;
    }
    return value;
  }

  function scale(axis, ends, log) {
    axis.type = log ? "log" : "linear";
    if (!log) { axis.tickmode = "auto"; delete axis.tickvals; delete axis.ticktext; axis.tickformat = "~s"; }
    if (ends) { axis.range = log ? ends.map(Math.log10) : ends.slice(); }
  }

  function layoutOf(figure, made) {
    var layout = themed(made.layout), ends = (layout.meta || {}).ends || {}, ink = css("--ink"), grid = css("--grid");
    layout.font = { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily };
    layout.paper_bgcolor = "rgba(0,0,0,0)";
    layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.hoverlabel = { bgcolor: css("--panel"), bordercolor: css("--line"), font: { color: ink, size: 12, family: layout.font.family }, align: "left", namelength: -1 };
    layout.hovermode = "closest";
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: css("--quiet"), activecolor: css("--link") };
    if (printing) { layout.width = 640; layout.height = 350; }
    layout.margin = { l: narrow.matches ? 48 : 62, r: 12, t: layout.title ? 34 : 12, b: 46 };
    if (layout.title) { layout.title.font = { size: 13, color: css("--quiet") }; layout.title.x = 0.5; }
    // Above the panel a legend never hides data; its entries switch networks and laws on and off.
    layout.legend = { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", font: { size: narrow.matches ? 10 : 11 }, bgcolor: "rgba(0,0,0,0)" };
    ["x", "y"].forEach(function (letter) {
      var axis = layout[letter + "axis"] = layout[letter + "axis"] || {}, box = figure.querySelector('[data-axis="' + letter + '"]');
      axis.gridcolor = grid; axis.linecolor = css("--quiet"); axis.zerolinecolor = css("--quiet"); axis.showline = true;
      axis.ticks = "outside"; axis.tickcolor = css("--quiet"); axis.automargin = true;
      if (axis.title) { axis.title.standoff = 8; }
      if (narrow.matches && axis.tickvals && axis.tickvals.length > 5) {
        var every = function (value, i, all) { return (all.length - 1 - i) % 2 === 0; };
        axis.tickvals = axis.tickvals.filter(every);
        axis.ticktext = axis.ticktext.filter(every);
      }
      if (box) { scale(axis, ends[letter], box.checked); } else if (ends[letter]) { scale(axis, ends[letter], axis.type === "log"); }
    });
    return layout;
  }

  function draw(figure) {
    var one = store.figures[figure.dataset.chart], plot = figure.querySelector(".drawing");
    var made = one.variants[one.group ? chosen(one.group) : 0];
    plot.classList.toggle("empty", !made);
    figure.classList.toggle("none", !made);
    if (!made) {
      if (plot.data) { Plotly.purge(plot); }
      plot.textContent = one.empty;
      return;
    }
    if (!plot.data) { plot.textContent = ""; }
    // On a phone a legend of many entries has a line each: the panel below it keeps its height.
    var entries = made.data.filter(function (trace) { return trace.showlegend !== false && trace.name; }).length;
    plot.style.height = narrow.matches && entries > 3 ? "calc(26rem + " + 18 * (entries - 3) + "px)" : "";
    Plotly.react(plot, themed(made.data), layoutOf(figure, made), config);
  }

  function figures() { return Array.prototype.slice.call(document.querySelectorAll("figure[data-chart]")); }
  function drawAll() { figures().forEach(draw); }

  function chosen(group) {
    var select = document.querySelector('[data-chooses="' + group + '"]');
    return select ? Number(select.value) : 0;
  }

  function choose(group) {
    document.querySelectorAll('[data-group="' + group + '"]').forEach(function (part) {
      part.classList.toggle("other", Number(part.dataset.choice) !== chosen(group));
    });
    figures().forEach(function (figure) { if (store.figures[figure.dataset.chart].group === group) { draw(figure); } });
  }

  function key(cell) { return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim().toLowerCase(); }

  // Numbers by size, then text by letters; ties keep their order.
  function sort(head) {
    var table = head.closest("table"), column = head.cellIndex, body = table.tBodies[0];
    var down = head.getAttribute("aria-sort") === "ascending";
    var rows = Array.prototype.slice.call(body.rows).map(function (row) { return [key(row.cells[column]), row]; });
    rows.sort(function (a, b) {
      if (typeof a[0] !== typeof b[0]) { return typeof a[0] === "number" ? -1 : 1; }
      var order = a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
      return down ? -order : order;
    });
    rows.forEach(function (row) { body.appendChild(row[1]); });
    table.querySelectorAll("th").forEach(function (th) { th.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }

  document.addEventListener("change", function (event) {
    if (event.target.dataset.chooses) { choose(event.target.dataset.chooses); }
    if (event.target.dataset.axis) { draw(event.target.closest("figure")); }
  });
  document.addEventListener("click", function (event) {
    var head = event.target.closest("thead th");
    if (head) { sort(head); }
  });
  dark.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", function () {
    printing = true;
    document.documentElement.classList.add("printing");
    document.querySelectorAll(".card details").forEach(function (details) { details.open = true; });
    drawAll();
  });
  window.addEventListener("afterprint", function () {
    printing = false;
    document.documentElement.classList.remove("printing");
    drawAll();
  });

  document.querySelectorAll("[data-chooses]").forEach(function (select) { choose(select.dataset.chooses); });
  drawAll();
  document.documentElement.dataset.drawn = "yes";
})();
