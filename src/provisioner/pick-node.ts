export interface NodeCandidate {
  readonly id: string;
  readonly name: string;
  readonly online: boolean;
  readonly capacity: number;
  readonly tenants: number;
}

/** The node for one more tenant: with a free place, online before offline, then the most free places, then by name. Null: none has room. */
export function pickNode(candidates: readonly NodeCandidate[]): NodeCandidate | null {
  const free = (node: NodeCandidate): number => node.capacity - node.tenants;
  const [best] = candidates
    .filter((node) => free(node) > 0)
    .toSorted(
      (a, b) =>
        Number(b.online) - Number(a.online) || free(b) - free(a) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
    );
  return best ?? null;
}
