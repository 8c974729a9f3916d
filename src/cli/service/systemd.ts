import type { ServicePlan, ServiceSpec } from "./plan.ts";

/**
 * A hardened unit. The secret is handed over by the service manager (LoadCredential), so the user that runs it needs no right to the file;
 * without a named user the system makes one for the time that it runs. What it keeps lies in its state directory.
 */
export function systemdPlan(spec: ServiceSpec): ServicePlan {
  const { name } = spec;
  const path = `/etc/systemd/system/${name}.service`;
  return {
    path,
    mode: 0o644,
    content: systemdUnit(spec),
    install: [
      ["systemctl", "daemon-reload"],
      ["systemctl", "enable", "--now", `${name}.service`],
    ],
    uninstall: [["systemctl", "disable", "--now", `${name}.service`]],
    afterRemoval: [["systemctl", "daemon-reload"]],
    status: ["systemctl", "status", "--no-pager", `${name}.service`],
  };
}

function systemdUnit({ name, program, args, credential, user }: ServiceSpec): string {
  const loaded = credential === null ? [] : [`LoadCredential=credential:${credential.file}`];
  const named = credential === null ? [] : [credential.flag, "%d/credential"];
  // What we name ourselves keeps its %d and %S; what people name is taken literally.
  const command = [...program.map(quoted), "connect", ...args.map(quoted), ...named, "--state-dir", `%S/${name}`];
  return `${[
    "# Made by `causeway service install`.",
    "[Unit]",
    "Description=Causeway connector",
    "After=network-online.target",
    "Wants=network-online.target",
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    `ExecStart=${command.join(" ")}`,
    "ExecReload=/bin/kill -HUP $MAINPID",
    ...loaded,
    ...(user === null ? ["DynamicUser=yes"] : [`User=${user}`]),
    `StateDirectory=${name}`,
    "StateDirectoryMode=0700",
    "Restart=always",
    "RestartSec=5",
    "# A wrong setting, and credentials that the relay does not take: somebody has to act first.",
    "RestartPreventExitStatus=2 5",
    "KillMode=mixed",
    "TimeoutStopSec=30",
    "UMask=0077",
    "CapabilityBoundingSet=",
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "PrivateDevices=yes",
    "PrivateTmp=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=read-only",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "# Netlink tells which addresses this machine has.",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "",
    "[Install]",
    "WantedBy=multi-user.target",
  ].join("\n")}\n`;
}

/** systemd.service(5), "Command lines": specifiers and variables are doubled, the rest goes into double quotes where it must. */
function quoted(word: string): string {
  const literal = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[A-Za-z0-9_@%+=:,./$-]+$/.test(literal) ? literal : `"${literal.replace(/["\\]/g, "\\$&")}"`;
}
