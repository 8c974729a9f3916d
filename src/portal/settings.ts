export interface PortalSettings {
  /** The first is the platform's own; the portal lives on its bare domain. */
  readonly baseDomains: readonly [string, ...string[]];
  readonly publicScheme: "http" | "https";
  /** Empty for the scheme's default. */
  readonly publicPort: string;
  readonly authSecret: string;
}

/** Origin of a host of the platform as browsers see it. */
export function publicOrigin(settings: PortalSettings, host: string): string {
  return `${settings.publicScheme}://${host}${settings.publicPort === "" ? "" : `:${settings.publicPort}`}`;
}
export const portalOrigin = (settings: PortalSettings): string => publicOrigin(settings, settings.baseDomains[0]);
