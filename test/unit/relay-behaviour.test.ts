import { relayBehaviour } from "../behaviour/relay/suite.ts";
import { startMemoryHost } from "../behaviour/relay/memory-host.ts";

relayBehaviour("in memory", startMemoryHost);
