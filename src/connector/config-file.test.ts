import { describe, expect, it } from "vitest";
import { parseConfigFile } from "./config-file.ts";
import { withDefaults } from "./config.ts";

const read = (source: string) => parseConfigFile(source, "/etc/causeway");

describe("a configuration file", () => {
  it("says what flags say, with paths relative to itself", () => {
    const file = `
relay: https://relay.example.com
credentials: plant-1.json
ca: /etc/ssl/site.pem
healthPort: 9100
drainTimeout: 2.5
targets:
  demo: http://127.0.0.1:3000
  erp: { url: "https://erp.local:8443/base", timeout: 30 }
  echo: debug:echo
`;
    expect(read(file)).toEqual({
      ok: true,
      value: {
        url: "https://relay.example.com",
        credentials: "/etc/causeway/plant-1.json",
        ca: "/etc/ssl/site.pem",
        healthPort: "9100",
        drainTimeout: "2.5",
        allowPlainHttp: false,
        targets: [
          { name: "demo", settings: "http://127.0.0.1:3000", folder: "/etc/causeway" },
          { name: "erp", settings: { url: "https://erp.local:8443/base", timeout: 30 }, folder: "/etc/causeway" },
          { name: "echo", settings: "debug:echo", folder: "/etc/causeway" },
        ],
      },
    });
    expect(read("")).toMatchObject({ ok: true, value: { targets: [] } });
  });

  it("with a mistake is refused by the setting's name, never with its value", () => {
    const wrong: [string, string][] = [
      ["relai: https://secret.example.com", 'unknown setting "relai"'],
      ["targets: [secret]", "targets: write an object, as { name: value }"],
      ["lanes: c", "lanes: write a or b or both"],
      ["allowPlainHttp: 'yes, secret'", "allowPlainHttp: write true or false"],
      ["- secret", "name: value"],
      ["a: [", "not YAML"],
    ];
    for (const [source, words] of wrong) {
      const result = read(source);
      expect(result).toMatchObject({ ok: false, error: expect.stringContaining(words) });
      expect(JSON.stringify(result)).not.toContain("secret");
    }
  });

  it("comes after flags and environment", () => {
    const file = read("relay: https://file.example.com\nlanes: a\ntargets: { demo: 'http://x' }");
    if (!file.ok) throw new Error(file.error);
    const merged = withDefaults({ url: "https://flag.example.com", targets: [], allowPlainHttp: false }, file.value);
    expect(merged).toMatchObject({ url: "https://flag.example.com", lanes: "a", targets: [{ name: "demo" }] });
    const typed = withDefaults({ targets: ["ping"], allowPlainHttp: true }, file.value);
    expect(typed).toMatchObject({ targets: ["ping"], allowPlainHttp: true });
  });
});
