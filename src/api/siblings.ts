/** Several values of one key, which a 300 shows together. */
import { isUtf8 } from 'node:buffer'
import type { FoundValue, GetReply } from '../wire/requests.ts'

const DEFAULT_CONTENT_TYPE = 'application/octet-stream'

/** A stored content type may have come another way than HTTP: what no header can hold is not repeated. */
export function usableContentType(contentType: string | null): string {
  return contentType !== null && /^[\x20-\x7e]+$/.test(contentType) ? contentType : DEFAULT_CONTENT_TYPE
}

/** `{ context, values: [{ value, encoding, contentType, timestamp }] }`, newest first. */
export function siblingsAsJson(found: GetReply): Buffer {
  const values = found.values.map((one) => {
    const bytes = Buffer.from(one.value)
    const encoding = isUtf8(bytes) ? 'utf8' : 'base64'
    return {
      value: bytes.toString(encoding),
      encoding,
      contentType: one.contentType,
      timestamp: isoTime(one),
    }
  })
  return Buffer.from(JSON.stringify({ context: found.context, values }))
}

/** RFC 2046, section 5.1. @param boundary random, so that no value holds it */
export function siblingsAsMultipart(found: GetReply, boundary: string): Buffer {
  const parts = found.values.flatMap((one) => {
    const head = [
      `--${boundary}`,
      `Content-Type: ${usableContentType(one.contentType)}`,
      `Last-Modified: ${new Date(shownMs(one)).toUTCString()}`,
    ]
    return [Buffer.from(`${head.join('\r\n')}\r\n\r\n`), one.value, Buffer.from('\r\n')]
  })
  return Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)])
}

function isoTime(one: FoundValue): string {
  return new Date(shownMs(one)).toISOString()
}

/** A clock may have been anywhere; dates end in the year 275760. */
function shownMs({ timestampMs }: FoundValue): number {
  return Math.min(Math.max(timestampMs, 0), 8.64e15)
}
