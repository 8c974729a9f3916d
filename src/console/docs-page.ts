import { html, raw } from "hono/html";
import { z } from "zod";

/** The part of an OpenAPI 3.1 document that the page shows. */
const documentSchema = z.object({
  info: z.object({ title: z.string(), version: z.string(), description: z.string().optional() }),
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.object({
        tags: z.array(z.string()).default([]),
        summary: z.string().default(""),
        description: z.string().default(""),
        parameters: z
          .array(
            z.object({
              name: z.string(),
              in: z.string(),
              required: z.boolean().default(false),
              description: z.string().optional(),
              schema: z.unknown(),
            }),
          )
          .default([]),
        requestBody: z.unknown().optional(),
        responses: z.record(z.string(), z.looseObject({ description: z.string() })),
      }),
    ),
  ),
  components: z.object({ schemas: z.record(z.string(), z.unknown()).default({}) }),
});

const STYLE = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
  details { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: 6px; margin: .5rem 0; padding: .5rem .75rem }
  summary { cursor: pointer } code, pre { font: .875rem/1.4 ui-monospace, monospace } pre { overflow-x: auto }
  .method { display: inline-block; min-width: 4rem; font-weight: 700 } table { border-collapse: collapse } td, th { padding: .125rem .75rem .125rem 0; text-align: left; vertical-align: top }
`;

const schemaOf = (content: unknown): unknown => {
  const parsed = z
    .looseObject({ content: z.record(z.string(), z.looseObject({ schema: z.unknown() })) })
    .safeParse(content);
  return parsed.success ? Object.values(parsed.data.content)[0]?.schema : undefined;
};

/**
 * The API's reference as one page without scripts and without anything from elsewhere, so that it works with no internet
 * (docs/adr/0001-api-reference-page.md).
 */
export function docsPage(document: unknown) {
  const { info, paths, components } = documentSchema.parse(document);
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
  );
  const tags = [...new Set(operations.flatMap((operation) => operation.tags))];
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${info.title}</title>
        <style>
          ${raw(STYLE)}
        </style>
      </head>
      <body>
        <h1>${info.title} <small>${info.version}</small></h1>
        <p>${info.description ?? ""} The document itself: <a href="/api/v1/openapi.json">openapi.json</a>.</p>
        <nav>${tags.map((tag) => html`<a href="#${tag}">${tag}</a> `)}<a href="#schemas">schemas</a></nav>
        ${tags.map(
          (tag) =>
            html`<h2 id="${tag}">${tag}</h2>
              ${operations
                .filter((operation) => operation.tags.includes(tag))
                .map(
                  (operation) =>
                    html`<details>
                      <summary>
                        <span class="method">${operation.method}</span>
                        <code>${operation.path}</code> ${operation.summary}
                      </summary>
                      <p>${operation.description}</p>
                      ${
                        operation.parameters.length === 0
                          ? ""
                          : html`<table>
                              <tr>
                                <th>parameter</th>
                                <th>in</th>
                                <th></th>
                              </tr>
                              ${operation.parameters.map(
                                (parameter) =>
                                  html`<tr>
                                    <td><code>${parameter.name}</code></td>
                                    <td>${parameter.in}${parameter.required ? ", required" : ""}</td>
                                    <td>
                                      ${parameter.description ?? ""} <code>${JSON.stringify(parameter.schema)}</code>
                                    </td>
                                  </tr>`,
                              )}
                            </table>`
                      }
                      ${
                        schemaOf(operation.requestBody) === undefined
                          ? ""
                          : html`<h4>Body</h4>
                              <pre>${JSON.stringify(schemaOf(operation.requestBody), null, 2)}</pre>`
                      }
                      <h4>Answers</h4>
                      <table>
                        ${Object.entries(operation.responses).map(
                          ([status, response]) =>
                            html`<tr>
                              <td>${status}</td>
                              <td>${response.description}</td>
                              <td><code>${JSON.stringify(schemaOf(response)) ?? ""}</code></td>
                            </tr>`,
                        )}
                      </table>
                    </details>`,
                )}`,
        )}
        <h2 id="schemas">schemas</h2>
        ${Object.entries(components.schemas).map(
          ([name, schema]) =>
            html`<details id="${name}">
              <summary><code>${name}</code></summary>
              <pre>${JSON.stringify(schema, null, 2)}</pre>
            </details>`,
        )}
      </body>
    </html>`;
}

/** Nothing from elsewhere, no scripts. */
export const DOCS_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
