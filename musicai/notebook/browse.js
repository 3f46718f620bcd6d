// Results computed in advance, one for each combination of some choices. interact.py calls this with the root element,
// the controls [name, labels, first] and the pages (HTML) in the order of the combinations, the last control fastest.
(root, controls, pages) => {
const chosen = controls.map(([, , first]) => first);
const element = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const screen = element("div", {});
screen.setAttribute("aria-live", "polite");
const turn = () => {
  screen.innerHTML = pages[controls.reduce((at, [, labels], i) => at * labels.length + chosen[i], 0)] ?? "";
};
const rows = controls.map(([name, labels, first], i) => {
  const choose = value => { chosen[i] = +value; turn(); };
  let input, says = element("output", {});
  if (labels.join() === "False,True") {
    input = element("input", { type: "checkbox", checked: first === 1, onchange: () => choose(input.checked) });
  } else if (labels.some(label => isNaN(label))) {
    const options = labels.map((label, value) => element("option", { value, textContent: label, selected: value === first }));
    input = element("select", { onchange: () => choose(input.value) }, ...options);
  } else {
    const show = () => {
      says.textContent = labels[input.value];
      input.setAttribute("aria-valuetext", labels[input.value]);
    };
    input = element("input", { type: "range", min: 0, max: labels.length - 1 });
    input.value = first;
    input.oninput = () => { show(); choose(input.value); };
    show();
  }
  const row = element("label", {}, element("span", { textContent: name }), input, says);
  row.style = "display:flex;flex-wrap:wrap;gap:0 0.8em;align-items:center;max-width:34em";
  input.style = input.type === "range" ? "flex:1;min-width:8em" : "";
  return row;
});
root.replaceChildren(...rows, screen);
turn();
}
