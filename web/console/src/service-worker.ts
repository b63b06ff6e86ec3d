// Keeps the console at hand: a reload while the node is away opens it, to go on in local mode.

import { keepShell } from "runabout/service-worker";

// Written in when all of them are known, by build/kept-assets.js.
keepShell({ extra: JSON.parse("__ASSETS__"), cache: "runabout console" });
