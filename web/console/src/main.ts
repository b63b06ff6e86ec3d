import "./theme.css";
import "./base.css";
import { mount } from "svelte";

import App from "./App.svelte";
import { node } from "./state/node.svelte";

node.start();
mount(App, { target: document.getElementById("console")! });
