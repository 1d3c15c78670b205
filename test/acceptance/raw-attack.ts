/**
 * Mangled bytes below the messages: requests for a WebSocket and WebSocket frames that are not quite what
 * they should be.
 */
import { connect } from 'node:net'
import { type Bytes, concatBytes, utf8 } from '../../src/base/bytes.ts'
import { type Address, splitAddress } from '../../src/base/ids.ts'
import type { Prng } from '../../src/base/prng.ts'
import { clientRequestCodec } from '../../src/wire/client-messages.ts'
import { peerCodec } from '../../src/wire/peer-messages.ts'
import { inventFrame, mangleBytes, mangleFrame } from '../wire/mangler.ts'
import type { Recording } from '../wire/recording.ts'

const PATHS = ['/v1/peer/control', '/v1/peer/data', '/v1/client'] as const
/** A connection on which nothing happens is left. */
const SILENCE_MS = 100
const FRAMES = 3

/** Fulfils when the connection has ended. */
export function strikeRaw(target: Address, recording: Recording, prng: Prng): Promise<void> {
  const path = PATHS[prng.int(PATHS.length)] as string
  const request = utf8(
    `GET ${path} HTTP/1.1\r\nHost: ${target}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  const frames = concatBytes(
    ...Array.from({ length: FRAMES }, () => webSocketFrame(pick(path, recording, prng))),
  )
  const bytes =
    prng.float() < 0.3
      ? mangleBytes(prng, concatBytes(request, frames), frames)
      : concatBytes(request, mangleBytes(prng, frames, request))
  return new Promise((resolve) => {
    const { host, port } = splitAddress(target)
    const socket = connect(port, host, () => socket.write(bytes))
    socket.on('error', () => {
      // How it ends is the peer's choice.
    })
    socket.once('close', () => resolve())
    socket.setTimeout(SILENCE_MS, () => socket.destroy())
    socket.resume()
  })
}

/** Never a valid one: what is replayed as it was is no damage, and may well be believed. */
function pick(path: string, recording: Recording, prng: Prng): Bytes {
  if (prng.float() < 0.5) return inventFrame(prng)
  const side = path === '/v1/client' ? 'client' : 'peer'
  const codec = side === 'client' ? clientRequestCodec : peerCodec
  return mangleFrame(prng, recording.pick(side, prng), recording.pick(side, prng), codec)
}

/** One binary message, masked with zeros (RFC 6455, section 5.2). */
function webSocketFrame(payload: Bytes): Bytes {
  const { length } = payload
  const head =
    length < 126
      ? [0x82, 0x80 | length]
      : length < 0x1_0000
        ? [0x82, 0xfe, length >> 8, length & 0xff]
        : [0x82, 0xff, 0, 0, 0, 0, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff]
  return concatBytes(Uint8Array.from([...head, 0, 0, 0, 0]), payload)
}
