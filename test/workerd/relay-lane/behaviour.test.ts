import { relayBehaviour } from "../../behaviour/relay/suite.ts";
import { startObjectHost } from "./object-host.ts";

relayBehaviour("in a Durable Object", startObjectHost);
