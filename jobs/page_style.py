"""The style and the one script of the page, kept apart from what the page says."""

STYLE = """
:root { color-scheme: light dark; --ground: #fbfbf9; --card: #fff; --ink: #1d1f21; --soft: #62676c; --line: #e3e3de;
  --mark: #8a5a00; --mark-ground: #fdf6e6; --well: #efefeb; }
@media (prefers-color-scheme: dark) { :root { --ground: #141517; --card: #1b1d1f; --ink: #e6e6e3; --soft: #9a9fa4;
  --line: #2e3134; --mark: #e8bf6a; --mark-ground: #2a2417; --well: #101113; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 2.5rem 1.5rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 1rem; font-weight: 600; overflow-wrap: anywhere; }
a { color: inherit; }
.codec { margin: .25rem 0 1.5rem; color: var(--soft); }
.plainly { margin: 0 0 2rem; padding: .75rem 1rem; border-left: 3px solid var(--mark); background: var(--mark-ground);
  color: var(--ink); max-width: 60rem; }
.plainly strong { color: var(--mark); }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.5rem 3rem;
  margin-bottom: 2.5rem; }
table { border-collapse: collapse; width: 100%; height: max-content; font-size: .9375rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .375rem; }
th, td { padding: .3125rem 0; border-top: 1px solid var(--line); text-align: left; font-weight: 400;
  vertical-align: top; }
th { color: var(--soft); padding-right: 1rem; white-space: nowrap; }
td { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
article { margin-bottom: 1.5rem; padding: 1.25rem; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card); }
.facts { display: flex; flex-wrap: wrap; gap: .125rem 1.5rem; margin: .25rem 0 1rem; padding: 0; list-style: none;
  color: var(--soft); font-size: .875rem; font-variant-numeric: tabular-nums; }
.facts b { color: var(--ink); font-weight: 600; }
.pictures { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1rem; align-items: start; }
figure { margin: 0; min-width: 0; }
figure img, .absent { display: block; width: min(100%, calc(90vh * var(--ratio))); height: auto; border-radius: 4px;
  aspect-ratio: var(--ratio); background: var(--well); }
.absent { display: grid; place-items: center; color: var(--soft); font-size: .875rem; }
img.enlarged { image-rendering: pixelated; }
figcaption { margin-top: .375rem; color: var(--soft); font-size: .8125rem; }
.true-size { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin-top: 1rem; overflow-x: auto; }
.true-size img { display: block; flex: none; border-radius: 2px; }
.true-size span { color: var(--soft); font-size: .8125rem; }
.compare { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center; margin-top: 1rem; color: var(--soft);
  font-size: .875rem; }
.compare label { cursor: pointer; }
.compare [type=range] { flex: 1 1 12rem; max-width: 30rem; display: none; accent-color: var(--soft); }
.compare:has(:checked) [type=range] { display: block; }
article:has(.switch:checked) .pictures { grid-template-columns: minmax(0, 1fr);
  width: min(100%, calc(90vh * var(--ratio))); }
article:has(.switch:checked) .thumbnail { display: none; }
article:has(.switch:checked) :is(.original, .reconstruction) { grid-area: 1 / 1; }
article:has(.switch:checked) .reconstruction img { clip-path: inset(0 0 0 var(--cut, 50%)); background: none; }
article:has(.switch:checked) .reconstruction figcaption { text-align: right; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .875rem; }
@media (max-width: 42rem) {
  body { padding: 1.25rem .875rem 2.5rem; }
  article { padding: .875rem; }
  .pictures { grid-template-columns: minmax(0, 1fr); }
}
@media (scripting: none) { .compare { display: none; } }
@media print { article { break-inside: avoid; } .compare { display: none; } }
"""

# Only moves the edge between original and reconstruction; everything is on the page without it.
SCRIPT = """
addEventListener("input", ({target}) => {
  if (target.type === "range") target.closest("article").style.setProperty("--cut", target.value + "%");
});
"""
