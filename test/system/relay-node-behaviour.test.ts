import { relayBehaviour } from "../behaviour/relay/suite.ts";
import { startNodeHost } from "./relay-node/behaviour-host.ts";

relayBehaviour("in a Node process", startNodeHost);
