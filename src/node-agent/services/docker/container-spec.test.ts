import { describe, expect, test } from "vitest";
import type { ServiceInstance } from "../service-driver.ts";
import { containerName, containerSpec, type CatalogueImage, type Placement } from "./container-spec.ts";
import { registryOf } from "./registry-login.ts";

const instance: ServiceInstance = {
  tenantId: "ten_a",
  slug: "acme",
  workspace: "main",
  service: "app",
  driver: { kind: "docker", image: "web" },
  protocol: "http",
  healthPath: "/healthz",
  secrets: { API_KEY: "very secret" },
};
const entry: CatalogueImage = {
  image: "registry.example/web:1",
  port: 8080,
  env: { MODE: "live", PORT: "1" },
  memoryMib: 256,
  cpus: 0.5,
  processes: 100,
  readOnly: true,
  pull: "missing",
};
const placement: Placement = {
  key: "ten_a/main/app/0123456789abcdef",
  nodeId: "nod_1",
  node: "walter",
  secretsDir: "/state/containers/ten_a/main/app/0123456789abcdef",
  hostPort: 21_000,
  network: null,
};

describe("a tenant's container", () => {
  test("has bounds, no capabilities, nothing of the host but its secrets, and its port on loopback only", () => {
    const { HostConfig } = containerSpec(instance, entry, placement);
    expect(HostConfig).toEqual({
      Init: true,
      RestartPolicy: { Name: "unless-stopped" },
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      Memory: 256 * 1024 * 1024,
      MemorySwap: 256 * 1024 * 1024,
      NanoCpus: 500_000_000,
      PidsLimit: 100,
      ReadonlyRootfs: true,
      Tmpfs: { "/tmp": "rw,noexec,nosuid,size=64m" },
      LogConfig: { Type: "json-file", Config: { "max-size": "4m", "max-file": "2" } },
      Mounts: [{ Type: "bind", Source: placement.secretsDir, Target: "/run/causeway/secrets", ReadOnly: true }],
      PortBindings: { "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "21000" }] },
    });
  });

  test("is told who it is; the catalogue can't say otherwise, and no secret is in what anybody can inspect", () => {
    const spec = containerSpec(instance, entry, placement);
    expect(spec.Env).toEqual([
      "MODE=live",
      "PORT=8080",
      "CAUSEWAY_TENANT=acme",
      "CAUSEWAY_TENANT_ID=ten_a",
      "CAUSEWAY_WORKSPACE=main",
      "CAUSEWAY_SERVICE=app",
      "CAUSEWAY_NODE=walter",
      "CAUSEWAY_SECRETS_DIR=/run/causeway/secrets",
    ]);
    expect(JSON.stringify(spec)).not.toContain("very secret");
  });

  test("in a network of the engine has no port on the host", () => {
    const spec = containerSpec(instance, entry, { ...placement, hostPort: null, network: "tenants" });
    expect(spec.HostConfig).toMatchObject({ NetworkMode: "tenants" });
    expect(spec.HostConfig).not.toHaveProperty("PortBindings");
  });

  test("keeps its data in a volume that is named by the service, not by the container", () => {
    expect(containerSpec(instance, { ...entry, data: "/data" }, placement).HostConfig).toMatchObject({
      Mounts: [{ Type: "bind" }, { Type: "volume", Source: "causeway-ten_a-main-app", Target: "/data" }],
    });
  });

  test("has a name that two agents of one node would both choose, and that fits DNS", () => {
    const name = containerName("nod_1", placement.key);
    expect(name).toBe(containerName("nod_1", placement.key));
    expect(name).not.toBe(containerName("nod_2", placement.key));
    expect(name).toMatch(/^[a-z][a-z0-9-]{1,62}$/);
  });
});

test.each([
  ["node:24", "docker.io"],
  ["library/node:24", "docker.io"],
  ["ghcr.io/acme/web:1", "ghcr.io"],
  ["localhost/web:1", "localhost"],
  ["registry:5000/acme/web:1", "registry:5000"],
])("%s is of the registry %s", (image, registry) => {
  expect(registryOf(image)).toBe(registry);
});
