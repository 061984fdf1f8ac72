"""The style sheet of the HTML page: light and dark, a phone's width, and paper."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5b6570; --paper: #ffffff; --edge: #d5dae0; --blue: #1f6feb;
  --pale: #cfe1fb; --faint: #e9f1fd; --red: #b3261e; --amber: #8a5300; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --dim: #9aa5b1; --paper: #14181d; --edge: #333b45;
  --blue: #6ea8ff; --pale: #274a7d; --faint: #1b2b44; --red: #ff8a80; --amber: #ffc46b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid var(--edge); padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
.sentence { font-size: 1.05rem; } .dim { color: var(--dim); } .alarm { color: var(--red); font-weight: 700; }
.note { color: var(--amber); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid var(--edge); text-align: left; white-space: nowrap; }
th { vertical-align: bottom; } th.n, td.n { text-align: right; }
td.long { white-space: normal; min-width: 14rem; } tr.told td { border-bottom: 0; }
tr.said td { white-space: normal; color: var(--dim); padding-top: 0; }
tr.said div { max-width: min(40rem, calc(100vw - 14rem)); }
figure { margin: .75rem 0; } figcaption { font-size: .88rem; color: var(--dim); }
svg { display: block; width: 100%; max-width: 38rem; height: auto; margin: .25rem 0; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); paint-order: stroke;
  stroke: var(--paper); stroke-width: 3; }
.axis { stroke: var(--dim); stroke-width: 1; }
.band { stroke: var(--pale); stroke-width: 9; } .interval { stroke: var(--blue); stroke-width: 3; }
.dot { fill: var(--blue); } .margin { stroke: var(--red); stroke-width: 2; stroke-dasharray: 3 2; }
.outer { fill: var(--faint); stroke: var(--pale); } .inner { fill: var(--pale); }
.frame { fill: none; stroke: var(--edge); } .line { fill: none; stroke: var(--blue); stroke-width: 2; }
@media (max-width: 40rem) { body { padding: .75rem; } th, td { padding: .25rem .4rem; }
  td:first-child { white-space: normal; overflow-wrap: normal; min-width: 6.5rem; }
  tr.said div { max-width: calc(100vw - 10.5rem); } svg text { font-size: 18px; } }
@media print { :root { --ink: #000; --dim: #444; --paper: #fff; --edge: #999; --blue: #1f4fa0; --pale: #bcd0ee;
  --faint: #e4ecf8; --red: #a00; --amber: #640; } body { max-width: none; font-size: 11px; padding: 0; }
  h2 { break-before: auto; } figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  thead { display: table-header-group; } .scroll { overflow: visible; }
  td.long { min-width: 0; }
  svg { max-width: 26rem; }
  table { font-size: 8.5px; } th, td { white-space: normal; overflow-wrap: normal; padding: 1px 3px; }
  .n { white-space: nowrap; } .sentence { font-size: 13px; } figcaption { font-size: 10px; } }
"""
