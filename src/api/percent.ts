/** Keys are bytes, so URLs are decoded to bytes: `decodeURIComponent` would refuse what is not UTF-8. */
import type { Bytes } from '../base/bytes.ts'

/**
 * The bytes that a part of a raw request URL stands for, or null when it is malformed.
 * @param plusIsSpace as in queries that forms and `URLSearchParams` write
 */
export function decodePercent(text: string, plusIsSpace = false): Bytes | null {
  const bytes = new Uint8Array(text.length)
  let length = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 0x25) {
      const digits = text.slice(i + 1, i + 3)
      if (!/^[0-9a-fA-F]{2}$/.test(digits)) return null
      bytes[length++] = Number.parseInt(digits, 16)
      i += 2
    } else {
      if (code > 0x7f) return null
      bytes[length++] = plusIsSpace && code === 0x2b ? 0x20 : code
    }
  }
  return bytes.subarray(0, length)
}

/** Whoever asks as if through a proxy names the peer in the request line: RFC 9112, 3.2.2. */
const ABSOLUTE_FORM = /^https?:\/\/(?<authority>[^/?#]*)(?<rest>.*)$/i

/**
 * A request line's target as the URL of a resource here; `authority` is the host it names, before whatever
 * the Host header says, or null when it names none.
 */
export function splitTarget(target: string): { readonly authority: string | null; readonly url: string } {
  const { authority, rest = '' } = ABSOLUTE_FORM.exec(target)?.groups ?? {}
  if (authority === undefined) return { authority: null, url: target }
  return { authority, url: rest.startsWith('/') ? rest : `/${rest}` }
}

/** Where the path of a raw request URL ends and what follows the question mark. */
export function splitUrl(url: string): { readonly path: string; readonly query: string } {
  const mark = url.indexOf('?')
  return mark === -1 ? { path: url, query: '' } : { path: url.slice(0, mark), query: url.slice(mark + 1) }
}
