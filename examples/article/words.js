// Renders a document: the article with the number of its words above it.
export default function words(html) {
  const text = html.replace(/<[^>]*>/g, " ");
  const count = text.split(/\s+/).filter((word) => word !== "").length;
  return html.replace("<body>", `<body>\n<p><small>${count} words</small></p>`);
}
