import type { ServicePlan, ServiceSpec } from "./plan.ts";

/** A job of the whole machine. launchd knows no exit codes: it starts the connector again whenever it fails, once a minute. */
export function launchdPlan(spec: ServiceSpec): ServicePlan {
  const label = `dev.causeway.${spec.name}`;
  const path = `/Library/LaunchDaemons/${label}.plist`;
  return {
    path,
    mode: 0o644,
    content: plist(label, spec),
    install: [["launchctl", "bootstrap", "system", path]],
    uninstall: [["launchctl", "bootout", `system/${label}`]],
    afterRemoval: [],
    status: ["launchctl", "print", `system/${label}`],
  };
}

function plist(label: string, { name, program, args, credential, user }: ServiceSpec): string {
  const command = [...program, "connect", ...args, ...(credential === null ? [] : [credential.flag, credential.file])];
  const log = `/Library/Logs/${name}.log`;
  return `${[
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    '<plist version="1.0">',
    "<dict>",
    `  <key>Label</key><string>${escaped(label)}</string>`,
    "  <key>ProgramArguments</key>",
    "  <array>",
    ...command.map((word) => `    <string>${escaped(word)}</string>`),
    "  </array>",
    ...(user === null ? [] : [`  <key>UserName</key><string>${escaped(user)}</string>`]),
    "  <key>RunAtLoad</key><true/>",
    "  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>",
    "  <key>ThrottleInterval</key><integer>60</integer>",
    "  <key>ExitTimeOut</key><integer>30</integer>",
    "  <key>Umask</key><integer>63</integer>",
    `  <key>StandardErrorPath</key><string>${escaped(log)}</string>`,
    "</dict>",
    "</plist>",
  ].join("\n")}\n`;
}

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
