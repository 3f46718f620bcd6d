// Keys that play recordings. players.py calls this with the root element, a label, and the sounds by pitch, as addresses.
(root, label, sounds) => {
const low = Math.min(...Object.keys(sounds)), high = Math.max(...Object.keys(sounds));
root.setAttribute("role", "group");
root.setAttribute("aria-label", label);
root.innerHTML = '<div></div><div style="height:7.5em;width:100%"></div>';
const [caption, board] = root.children;
caption.textContent = label;
drawKeys(board, low - isBlack(low), high + isBlack(high), p => p in sounds);
board.style.maxWidth = `${1.4 * board.children.length}em`;
board.querySelectorAll("button").forEach(key => {
  if (key.dataset.p % 12 === 0) key.innerHTML = `<span style="position:absolute;bottom:4px;left:0;right:0">${key.ariaLabel}</span>`;
});
root.onclick = e => {
  const key = e.target.closest("button:enabled");
  if (key) new Audio(sounds[key.dataset.p]).play();
};
}
