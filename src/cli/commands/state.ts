/** The flags that the local stack's commands share. */
export const stateArgs = {
  "state-dir": {
    type: "string",
    description: "Folder of the local stack's data (default: CAUSEWAY_STATE_DIR, else .causeway)",
    valueHint: "dir",
  },
} as const;

export const jsonArgs = {
  json: { type: "boolean", description: "Print data as one JSON object a line" },
} as const;
