import { render } from "preact";
import "../style.css";
import { dress } from "../views/theme";
import "./explorer.css";
import { Explorer } from "./Explorer";

dress();
render(<Explorer />, document.getElementById("app") as HTMLElement);
