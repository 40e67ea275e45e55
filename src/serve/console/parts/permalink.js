/** Texts in addresses: deflated and in base64url, so that a long statement still fits. */

const toBase64 = bytes => btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
const fromBase64 = text => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), letter => letter.charCodeAt(0));

async function through(bytes, stream) {
  const piped = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

/** @param {string} text @returns {Promise<string>} */
export const pack = async text => toBase64(await through(new TextEncoder().encode(text), new CompressionStream('deflate-raw')));

/** The text of `pack`; `null` if it is none. */
export async function unpack(packed) {
  try {
    return new TextDecoder().decode(await through(fromBase64(packed), new DecompressionStream('deflate-raw')));
  } catch {
    return null;
  }
}
