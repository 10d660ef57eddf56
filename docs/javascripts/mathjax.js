// The Markdown extension hands formulas over between \( \) and \[ \].
window.MathJax = { tex: { inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]] } };
