// The vendored widget manager speaks MathJax 2's queue; the page carries MathJax 3. Give it the one call it makes.
window.addEventListener("load", () => {
  const mathjax = (window.MathJax = window.MathJax || {});
  mathjax.Hub = mathjax.Hub || {
    Queue: (...calls) => {
      for (const call of calls) {
        if (Array.isArray(call) && call[2] && mathjax.typesetPromise) mathjax.typesetPromise([call[2]]);
      }
    },
  };
});
