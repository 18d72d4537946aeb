// esbuild's `binary` loader puts the bytes of a .wasm file into the bundle, for Node and browsers alike.
declare module '*.wasm' {
  const bytes: Uint8Array<ArrayBuffer>
  export default bytes
}
