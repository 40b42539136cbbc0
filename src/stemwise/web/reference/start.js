// Shows the OpenAPI document of this server; nothing is fetched from elsewhere.
window.SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null,
});
