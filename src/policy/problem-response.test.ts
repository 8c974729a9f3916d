import { describe, expect, test } from "vitest";
import { isNavigation, prefersHtml } from "./negotiate.ts";
import { negotiatedProblem } from "./problem-response.ts";

const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

describe("the form of an error", () => {
  test.each<[string | null, boolean]>([
    [BROWSER, true],
    ["text/html", true],
    ["TEXT/HTML", true],
    ["application/xhtml+xml", true],
    ["application/json, text/html;q=0.5", false],
    ["text/html;q=0.5, application/problem+json;q=0.4", true],
    ["*/*", false],
    ["application/json", false],
    ["text/html;q=0", false],
    ["text/html;q=nonsense", false],
    ["text/*", false],
    ["", false],
    [null, false],
  ])("Accept %j wants a page: %s", (accept, expected) => {
    expect(prefersHtml(accept)).toBe(expected);
  });

  test("programs get problem details (RFC 9457) with code and id (P18)", async () => {
    const request = { method: "GET", headers: new Headers({ accept: "*/*" }) };
    const response = negotiatedProblem(request, "no-route", "Check the path.", "req_1", { "retry-after": "1" });
    expect(response.status).toBe(404);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "application/problem+json",
      "causeway-error": "no-route",
      "causeway-request-id": "req_1",
      "retry-after": "1",
      "cache-control": "no-store",
    });
    expect(await response.json()).toMatchObject({ code: "no-route", status: 404, requestId: "req_1" });
  });

  test("browsers get a page with the same code, and what is in it can't become markup", async () => {
    const request = { method: "GET", headers: new Headers({ accept: BROWSER }) };
    const response = negotiatedProblem(request, "tenant-suspended", `<script>"&'`, "req_1");
    expect(response.status).toBe(503);
    expect(response.headers.get("causeway-error")).toBe("tenant-suspended");
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
    const page = await response.text();
    expect(page).toContain("<code>tenant-suspended</code>");
    expect(page).toContain("&lt;script&gt;&quot;&amp;&#39;");
    expect(page).not.toContain("<script>");
  });

  test("HEAD has no body", async () => {
    for (const accept of [BROWSER, "*/*"]) {
      const response = negotiatedProblem({ method: "HEAD", headers: new Headers({ accept }) }, "no-route", "", "req_1");
      expect(response.status).toBe(404);
      expect(await response.text()).toBe("");
    }
  });
});

test.each<[string, string, Record<string, string>, boolean]>([
  ["a page", "GET", { accept: BROWSER }, true],
  ["a page, by a new browser", "GET", { accept: BROWSER, "sec-fetch-dest": "document" }, true],
  ["a picture", "GET", { accept: BROWSER, "sec-fetch-dest": "image" }, false],
  ["a fetch", "GET", { accept: "*/*" }, false],
  ["a form", "POST", { accept: BROWSER }, false],
])("%s is (not) a navigation", (_, method, headers, expected) => {
  expect(isNavigation(method, new Headers(headers))).toBe(expected);
});
