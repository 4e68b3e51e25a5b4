import { render } from "preact";
import { resume } from "./model/accounts";
import "./style.css";
import { App } from "./views/App";
import { dress } from "./views/theme";

dress();
resume();
render(<App />, document.getElementById("app") as HTMLElement);
