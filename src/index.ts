/* The package's entry, `import … from "mere"`. Today the command line is how Mere is used; the entry tells programs which version they have. */
export { packageVersion } from "./cli/version.ts";
