import type { Problem } from "../shared/problem.ts";

/** Look of all pages of ours without a script: edge's errors and the portal. Follows the system's colour scheme, works from 320 px. */
export const PAGE_STYLE = `
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#16181d;--soft:#545b69;--line:#d5d9e2;--accent:#1b56c4;--on-accent:#fff;--bad:#b3261e;--good:#17693a;--shade:0 1px 2px #1018280d,0 8px 24px #10182814}
@media(prefers-color-scheme:dark){:root{--bg:#101216;--card:#191c22;--text:#eceef2;--soft:#a4abb9;--line:#363c49;--accent:#8db4ff;--on-accent:#0b1630;--bad:#ffb4ab;--good:#8fdcab;--shade:none}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;min-height:100dvh;display:grid;place-items:center;padding:1.25rem;background:var(--bg);color:var(--text);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{width:100%;max-width:27rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:14px;box-shadow:var(--shade);overflow-wrap:anywhere}
main.wide{max-width:40rem}@media(max-width:26rem){body{padding:.75rem}main{padding:1.4rem 1.25rem}}
h1{margin:0 0 .5rem;font-size:1.45rem;line-height:1.25;letter-spacing:-.01em}
p{margin:.5rem 0}
.brand{display:flex;align-items:center;gap:.5rem;margin:0 0 1.5rem;font-weight:650}
.brand svg{width:1.5rem;height:1.5rem;color:var(--accent)}
.soft,dl{color:var(--soft)}
dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem .9rem;margin:1.5rem 0 0;padding-top:1rem;border-top:1px solid var(--line);font-size:.86rem}
dt{font-weight:600}dd{margin:0}code{font:.95em ui-monospace,SFMono-Regular,Menlo,monospace}
a{color:var(--accent)}
label{display:block;margin:1rem 0 .3rem;font-weight:600}
input,select{width:100%;padding:.68rem .8rem;font:inherit;color:inherit;background:var(--bg);border:1px solid var(--soft);border-radius:9px}
button,.button{display:inline-block;width:100%;margin-top:1.4rem;padding:.72rem 1rem;font:inherit;font-weight:650;text-align:center;text-decoration:none;color:var(--on-accent);background:var(--accent);border:0;border-radius:9px;cursor:pointer}
button.plain,.button.plain{color:var(--text);background:none;border:1px solid var(--soft)}
.button+.button,form.next button{margin-top:.7rem}
button.bad{color:var(--bad)}
button:hover,.button:hover{filter:brightness(1.08)}button.plain:hover,.button.plain:hover,.choices .choice:hover{filter:none;background:var(--bg)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.error{padding:.65rem .85rem;border:1px solid var(--bad);border-radius:9px;color:var(--bad)}
.notice,.error{margin:.9rem 0}button+p,.button+p,form+p{margin-top:1rem}form+form button{margin-top:.7rem}
.notice{padding:.65rem .85rem;border:1px solid var(--good);border-radius:9px;color:var(--good)}
h2{margin:1.8rem 0 .4rem;font-size:1.05rem}
ul{padding-left:1.2rem}
ul.choices,ul.rows{margin:0;padding:0;list-style:none}
.choices li{display:flex;align-items:center;gap:.9rem;margin:.5rem 0}
.choices .choice{flex:1;padding:.6rem .8rem;color:var(--text);text-decoration:none;border:1px solid var(--soft);border-radius:9px}
.choice strong,.choice span{display:block}.choice span{font-size:.86rem}
.rows li{padding:.8rem 0;border-bottom:1px solid var(--line)}.rows li:last-child{border:0}
.actions,.actions form{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;margin:0}.actions{margin-top:.5rem;justify-content:space-between}
.rows button,.rows select{width:auto;margin:0;padding:.4rem .8rem}.rows form{margin-top:.4rem}
dl.facts{margin:.8rem 0 0;padding:0;border:0;font-size:1rem}.facts dd{color:var(--text)}
.steps{margin:1rem 0;padding:0;list-style:none}
.steps li{padding:.3rem 0 .3rem 1.8rem;position:relative}.steps li::before{content:"✓";position:absolute;left:.2rem;color:var(--good);font-weight:700}
`;

/** No script, nothing from elsewhere, in nobody's frame. `form-action` is left open: a sign-in form's redirects lead to the tenant's host. */
export const PAGE_SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
  // Not `no-referrer`: browsers then send `Origin: null` with our own forms.
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "cache-control": "no-store",
};

/** The mark beside the name, as trusted HTML. */
export const BRAND_MARK =
  '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" aria-hidden="true"><path d="M2 16h20M4 16a8 8 0 0 1 16 0M8 16v4M16 16v4"/></svg>';

export function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}

/** A whole page. `bodyHtml` is trusted HTML, `title` is text. */
export function pageHtml(title: string, bodyHtml: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><title>${escapeHtml(title)}</title><style>${PAGE_STYLE}</style></head>
<body><main><div class="brand">${BRAND_MARK}Causeway</div>${bodyHtml}</main></body></html>`;
}

/** The page for people that says the same as the problem details say to programs. `remedy`: a link to what helps, as a button. */
export function problemPage(problem: Problem, remedy?: { readonly href: string; readonly text: string }): string {
  const button =
    remedy === undefined ? "" : `<a class="button" href="${escapeHtml(remedy.href)}">${escapeHtml(remedy.text)}</a>`;
  return pageHtml(
    problem.title,
    `<h1>${escapeHtml(problem.title)}</h1><p class="soft">${escapeHtml(problem.detail)}</p>${button}` +
      `<dl><dt>Code</dt><dd><code>${problem.code}</code></dd>` +
      `<dt>Request</dt><dd><code>${escapeHtml(problem.requestId)}</code></dd></dl>`,
  );
}
