/**
 * Bytes on the wire per host, as a packet counter at its network card would see them. Estimates, on the high
 * side.
 */

export interface Traffic {
  readonly sentBytes: number
  readonly receivedBytes: number
  readonly sentFrames: number
  /** Dialled or accepted. */
  readonly connections: number
}

export interface TrafficMeter {
  of(host: string): Traffic
  /** A frame left for another host, or came twice. @param masked true when a WebSocket client sends */
  sent(host: string, payloadBytes: number, masked: boolean): void
  received(host: string, payloadBytes: number, masked: boolean): void
  /** TCP's and HTTP's part of a new connection, both ways. */
  connected(dialler: string, acceptor: string): void
  /** A connection's end. */
  ended(from: string, to: string): void
}

/** IPv4 20, TCP 20, its timestamps 12. */
const PACKET_HEADER_BYTES = 52
const MAX_SEGMENT_BYTES = 1448
/**
 * TCP's three packets, `GET / HTTP/1.1` with `Upgrade` headers, `101 Switching Protocols`: about 1.2 kB in
 * all.
 */
const DIALLER_SETUP_BYTES = 700
const ACCEPTOR_SETUP_BYTES = 500
/** Close frame, FIN, and their acknowledgements. */
const END_BYTES = 2 * PACKET_HEADER_BYTES + 4

interface Counts {
  sentBytes: number
  receivedBytes: number
  sentFrames: number
  connections: number
}

export function createTrafficMeter(): TrafficMeter {
  const hosts = new Map<string, Counts>()
  const counts = (host: string): Counts => {
    let found = hosts.get(host)
    if (found === undefined) {
      found = { sentBytes: 0, receivedBytes: 0, sentFrames: 0, connections: 0 }
      hosts.set(host, found)
    }
    return found
  }
  return {
    of: (host) => ({ ...counts(host) }),
    sent(host, payloadBytes, masked) {
      const sender = counts(host)
      sender.sentBytes += onWire(payloadBytes, masked)
      // The receiver's acknowledgement travels alone: counted for every frame, though an answer often carries
      // it.
      sender.receivedBytes += PACKET_HEADER_BYTES
      sender.sentFrames++
    },
    received(host, payloadBytes, masked) {
      const receiver = counts(host)
      receiver.receivedBytes += onWire(payloadBytes, masked)
      receiver.sentBytes += PACKET_HEADER_BYTES
    },
    connected(dialler, acceptor) {
      const [a, b] = [counts(dialler), counts(acceptor)]
      a.sentBytes += DIALLER_SETUP_BYTES
      a.receivedBytes += ACCEPTOR_SETUP_BYTES
      a.connections++
      b.sentBytes += ACCEPTOR_SETUP_BYTES
      b.receivedBytes += DIALLER_SETUP_BYTES
      b.connections++
    },
    ended(from, to) {
      counts(from).sentBytes += END_BYTES
      counts(to).receivedBytes += END_BYTES
    },
  }
}

function onWire(payloadBytes: number, masked: boolean): number {
  const length = payloadBytes < 126 ? 2 : payloadBytes < 65536 ? 4 : 10
  const frameBytes = payloadBytes + length + (masked ? 4 : 0)
  return frameBytes + Math.ceil(frameBytes / MAX_SEGMENT_BYTES) * PACKET_HEADER_BYTES
}
