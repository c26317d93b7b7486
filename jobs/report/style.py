"""What a report adds to the style of pages, and its one script."""

STYLE = """
:root { --s0: #b45f06; --s1: #0b7d62; --s2: #2b5fc0; --s3: #8e3fa8; --s4: #c2265c; --well: #efefeb; }
@media (prefers-color-scheme: dark) { :root { --s0: #e69a4c; --s1: #45c7a5; --s2: #82aaf5; --s3: #cf92e6;
  --s4: #ff7fa8; } }
section { margin: 0 0 3rem; }
section > h2 { font-size: 1.25rem; margin: 0 0 1rem; letter-spacing: -0.01em; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0 0 2rem; font-size: .9375rem; color: var(--soft); }
.verdict h3 { margin: 0; }
.verdict .headline { margin: .25rem 0 1rem; font-size: 1.1875rem; line-height: 1.45; max-width: 60rem;
  overflow-wrap: anywhere; }
.verdict dl { display: grid; grid-template-columns: minmax(9rem, 13rem) minmax(0, 1fr); gap: .75rem 1.5rem; margin: 0;
  max-width: 72rem; }
.verdict dt { color: var(--soft); }
.verdict dd { margin: 0; overflow-wrap: anywhere; }
.verdict .against { border-left: 3px solid var(--mark); padding-left: .75rem; }
.wide { overflow-x: auto; margin-bottom: 1.5rem; background:
  linear-gradient(to left, var(--ground) 50%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--line), transparent) right / 1.25rem 100% no-repeat scroll; }
.wide table { width: auto; min-width: min(100%, 40rem); }
.wide thead th { color: var(--soft); font-size: .8125rem; vertical-align: bottom; white-space: normal;
  min-width: 5rem; }
.wide th, .wide td { padding: .375rem 1.25rem .375rem 0; text-align: right; overflow-wrap: normal; }
.wide td { white-space: nowrap; }
.wide small, .wide.words td { white-space: normal; }
.wide :is(th, td):first-child { text-align: left; color: var(--ink); white-space: normal; min-width: 9rem; }
.wide.words td { text-align: left; max-width: 34rem; overflow-wrap: anywhere; }
.wide thead th:first-child { color: var(--soft); }
.wide tbody { border-top: 2px solid var(--line); }
.wide small { display: block; width: max-content; max-width: 15rem; color: var(--soft); font-size: .75rem;
  line-height: 1.35; overflow-wrap: anywhere; }
.wide td small { margin-left: auto; }
.wide .under { padding-left: 1.25rem; }
.wide .best { font-weight: 700; }
.wide small { font-weight: 400; }
.wide .larger, .wide .larger small { color: var(--mark); }
.wide .soft { color: var(--soft); }
.note { margin: -.75rem 0 1.5rem; color: var(--soft); font-size: .875rem; max-width: 60rem; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1.5rem 2rem;
  align-items: start; }
.plots figure { max-width: 34rem; }
.plots figcaption { margin: 0 0 .375rem; color: var(--ink); font-size: .875rem; font-weight: 600; }
.chart { display: block; width: 100%; height: auto; font-size: 12px; color: var(--ink); overflow: visible; }
.chart text { fill: currentColor; }
.chart .tick, .chart .name { fill: var(--soft); font-size: 11px; }
.chart .grid { stroke: var(--line); fill: none; }
.chart .zero, .chart .mean { stroke: currentColor; fill: none; stroke-width: 1.5; }
.chart .quartiles { stroke: currentColor; stroke-width: 3; fill: none; opacity: .55; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); } .s4 { --c: var(--s4); }
.chart .dot { fill: var(--c); }
.chart .disc { fill: var(--c); stroke: var(--ground); }
.chart .ring { fill: var(--ground); stroke: var(--c); stroke-width: 2; }
.chart .line { fill: none; stroke: var(--c); stroke-width: 1.75; }
.chart .whisker { stroke: var(--c); stroke-width: 2; fill: none; }
.chart .dots { fill: var(--c); fill-opacity: .45; }
.chart .bars { fill: var(--c); fill-opacity: .7; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0 0 1rem; padding: 0; list-style: none;
  font-size: .875rem; color: var(--soft); }
.legend .key { display: inline-block; width: .75rem; height: .75rem; margin-right: .375rem; border-radius: 50%;
  background: var(--c); border: 2px solid var(--c); }
.legend .diamond { border-radius: 0; transform: rotate(45deg) scale(.8); }
.legend .ring { background: none; }
.legend .soft { --c: var(--soft); }
.maps { display: flex; flex-wrap: wrap; gap: 1rem; }
.maps figure { width: 9rem; }
.maps img { width: 9rem; height: 9rem; aspect-ratio: 1; image-rendering: pixelated; }
.tilemaps figcaption { max-width: 15rem; }
.tilemaps .tiles { image-rendering: pixelated; }
.legend .ramp { display: inline-block; width: 6rem; height: .75rem; margin-right: .375rem; vertical-align: -1px; }
h3 + .note { margin-top: 0; }
.exhibit .why { margin: .125rem 0 1rem; color: var(--soft); font-size: .875rem; }
.crops { display: flex; flex-wrap: wrap; gap: 1rem; align-items: start; }
.crops figure { max-width: 100%; }
.crops hr { flex-basis: 100%; height: 0; margin: 0; border: 0; }
.crops figure img, .place img { width: auto; max-width: 100%; height: auto; aspect-ratio: auto; border-radius: 2px; }
.crops figcaption { max-width: 25rem; }
.crops figcaption b { color: var(--ink); font-weight: 600; }
.place { position: relative; width: fit-content; }
.place i { position: absolute; border: 2px solid #fff; outline: 1px solid #000; }
.lay { margin: 1.25rem 0 0; }
.lay .controls { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; color: var(--soft);
  font-size: .875rem; margin-bottom: .5rem; }
.lay select { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: 4px; padding: .125rem .25rem; max-width: 100%; }
.lay [type=range] { flex: 1 1 12rem; max-width: 30rem; accent-color: var(--soft); }
.stage { position: relative; width: min(100%, var(--double)); overflow: hidden; border-radius: 4px; }
.stage img { display: block; width: 100%; height: auto; }
.stage img + img { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--cut, 50%)); }
.stage::after { content: ""; position: absolute; inset: 0 auto 0 var(--cut, 50%); width: 1px; background: #fff;
  box-shadow: 0 0 0 1px #0006; }
details { margin-bottom: 1.5rem; }
summary { cursor: pointer; color: var(--soft); }
pre { overflow-x: auto; padding: .75rem 1rem; background: var(--well); border-radius: 6px; font-size: .8125rem;
  line-height: 1.45; }
@media (max-width: 42rem) {
  .verdict dl { grid-template-columns: minmax(0, 1fr); gap: .125rem; }
  .verdict dd { margin-bottom: .75rem; }
  .plots { grid-template-columns: minmax(0, 1fr); }
}
@media print {
  nav, .lay { display: none; }
  section, article.exhibit { break-inside: auto; }
  h2, h3, .why { break-after: avoid; }
  .crops figure { max-width: 32%; break-inside: avoid; }
  .plots figure, tr { break-inside: avoid; }
  .wide { overflow: visible; background: none; }
}
"""

# Lays a reconstruction over the original, from pictures that are on the page anyway; without scripts nothing is lost.
SCRIPT = """
for (const exhibit of document.querySelectorAll(".exhibit")) {
  const lay = exhibit.querySelector(".lay"), pictures = exhibit.querySelectorAll(".crops [data-over]");
  const original = exhibit.querySelector(".crops [data-original]");
  if (!lay || !original || !pictures.length) continue;
  const choice = lay.querySelector("select"), stage = lay.querySelector(".stage");
  const under = new Image(), over = new Image();
  under.src = original.src; under.alt = original.alt;
  for (const picture of pictures) choice.add(new Option(picture.dataset.over));
  const show = () => { const chosen = pictures[choice.selectedIndex]; over.src = chosen.src; over.alt = chosen.alt; };
  choice.addEventListener("change", show);
  lay.querySelector("[type=range]").addEventListener("input", ({target}) =>
    stage.style.setProperty("--cut", target.value + "%"));
  stage.style.setProperty("--double", 2 * original.width + "px");
  show();
  stage.append(under, over);
  lay.hidden = false;
}
"""
