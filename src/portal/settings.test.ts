import { expect, test } from "vitest";
import { readSettings, type SettingsEnv } from "./settings.ts";

const env = (over: Partial<SettingsEnv> = {}): SettingsEnv => ({
  BASE_DOMAINS: "causeway.example",
  PUBLIC_SCHEME: "https",
  PUBLIC_PORT: "",
  AUTH_SECRET: "s",
  ...over,
});
const oidc = JSON.stringify({ issuer: "https://id.example", clientId: "causeway", name: "Example" });

test("by default people come by invitation only, without mail and without an outside provider", () => {
  expect(readSettings(env())).toMatchObject({ signUp: "invited", mail: { kind: "none" }, oidc: null });
});

test("an outside provider is read with its secret", () => {
  expect(readSettings(env({ OIDC: oidc, OIDC_CLIENT_SECRET: "hunter2" })).oidc).toEqual({
    issuer: "https://id.example",
    clientId: "causeway",
    name: "Example",
    clientSecret: "hunter2",
  });
});

test.each<Partial<SettingsEnv>>([
  { PUBLIC_SCHEME: "ftp" },
  { PUBLIC_PORT: "x" },
  { SIGN_UP: "everybody" },
  { OIDC: oidc },
  { OIDC: "hunter2", OIDC_CLIENT_SECRET: "hunter2" },
  { OIDC: oidc.replace("https:", "http:"), OIDC_CLIENT_SECRET: "hunter2" },
  { MAIL: "hunter2" },
])("wrong settings stop the portal and are not quoted (%#)", (over) => {
  expect(() => readSettings(env(over))).toThrow(/^[A-Z_]+ (?:is|has) /);
  expect(() => readSettings(env(over))).not.toThrow(/hunter2/);
});
