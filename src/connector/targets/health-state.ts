/** Where a target's health is. Unknown counts as well, and the first check decides alone; later a change needs several in a row. */
export interface HealthState {
  readonly health: "unknown" | "healthy" | "unhealthy";
  /** Checks in a row that say otherwise. */
  readonly against: number;
}

export const UNKNOWN: HealthState = { health: "unknown", against: 0 };

export function afterCheck(
  { health, against }: HealthState,
  passed: boolean,
  thresholds: { readonly unhealthyAfter: number; readonly healthyAfter: number },
): HealthState {
  const said = passed ? "healthy" : "unhealthy";
  if (health === "unknown" || health === said) return { health: said, against: 0 };
  const needed = passed ? thresholds.healthyAfter : thresholds.unhealthyAfter;
  return against + 1 >= needed ? { health: said, against: 0 } : { health, against: against + 1 };
}
