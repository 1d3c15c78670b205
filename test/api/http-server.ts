/** The HTTP face over a fake service, on a real port. */
import { connect } from 'node:net'
import { HostNames } from '../../src/api/host-names.ts'
import { createHttpFace, type HttpFace } from '../../src/api/http.ts'
import { KvError } from '../../src/base/error.ts'
import { type Address, parseAddress, splitAddress } from '../../src/base/ids.ts'
import { createLog } from '../../src/platform/log.ts'
import { createSystemMetrics } from '../../src/platform/metrics.ts'
import { createSystemRandom } from '../../src/platform/system-random.ts'
import { createSystemNetwork } from '../../src/platform/ws-network.ts'
import type { FaultControl } from '../../src/wire/faults.ts'
import { createFakeService, type FakeService } from './fake-service.ts'

export interface HttpServer {
  readonly service: FakeService
  readonly face: HttpFace
  readonly address: Address
  readonly url: string
  readonly linkCount: number
  ready: boolean
  /** Whether there is a service to ask. */
  hasService: boolean
  close(): Promise<void>
}

export async function startHttpServer(
  maxValueBytes = 1024,
  faults: FaultControl | null = null,
): Promise<HttpServer> {
  const service = createFakeService()
  const metrics = createSystemMetrics()
  const state = { ready: true, hasService: true, linkCount: 0 }
  const face = createHttpFace({
    service: () => {
      if (state.hasService) return service
      throw new KvError('UNAVAILABLE', 'this peer is starting; try again')
    },
    faults,
    obstacle: () => (state.ready ? null : 'its disk is full'),
    maxValueBytes,
    hostNames: new HostNames(['x']),
    random: createSystemRandom(),
    log: await createLog({ level: 'silent' }),
    metrics,
    renderMetrics: () => metrics.render(),
  })
  const network = createSystemNetwork({ maxFrameBytes: 1024 * 1024 })
  network.setRequestHandler((request, response) => face.handle(request, response))
  const listener = await network.listen(parseAddress('127.0.0.1:0'), (link) => {
    state.linkCount++
    link.setHandler({ opened() {}, received() {}, progressed() {}, closed() {} })
  })
  return {
    service,
    face,
    address: listener.address,
    url: `http://${listener.address}`,
    get linkCount() {
      return state.linkCount
    },
    get ready() {
      return state.ready
    },
    set ready(ready) {
      state.ready = ready
    },
    get hasService() {
      return state.hasService
    },
    set hasService(hasService) {
      state.hasService = hasService
    },
    close: () => listener.close(),
  }
}

/**
 * Writes bytes to the port and gives, as Latin-1 text, everything that comes back until the other side ends
 * the connection.
 * @param end also ends our side after writing
 */
export async function exchange(address: Address, bytes: string | Uint8Array, end = false): Promise<string> {
  const { host, port } = splitAddress(address)
  return new Promise((resolve) => {
    let heard = ''
    const socket = connect(port, host, () => {
      socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
      if (end) socket.end()
    })
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      heard += text
    })
    socket.on('error', () => {}) // A reset is one of the ways in which a connection ends.
    socket.on('close', () => resolve(heard))
  })
}
