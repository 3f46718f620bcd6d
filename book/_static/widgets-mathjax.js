// The vendored widget manager speaks MathJax 2's queue; the page carries MathJax 3. Give it the one call it makes.
// Deferred, so that it runs after MathJax (deferred too) has made its object, and before the widgets are drawn.
window.MathJax = window.MathJax || {};
window.MathJax.Hub = {
  Queue: (...calls) => {
    for (const call of calls) {
      if (Array.isArray(call) && call[2] && MathJax.typesetPromise) MathJax.typesetPromise([call[2]]);
    }
  },
};
