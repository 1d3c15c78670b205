/** The connection of one command: made when the command needs it, closed when it is done. */
import { parseAddress } from '../../base/ids.ts'
import { createClient } from '../../client/client.ts'
import { NoAnswer } from '../../client/router.ts'
import { createSystemClock } from '../../platform/system-clock.ts'
import { createSystemRandom } from '../../platform/system-random.ts'
import { createSystemNetwork } from '../../platform/ws-network.ts'
import { MAX_FRAME_BYTES } from '../../wire/frame.ts'
import type { KvService } from '../../wire/requests.ts'
import { AdvisedError } from '../failure.ts'

export interface KvClient {
  readonly service: KvService
  /** A name for one write, or one round of repair, under which it may be sent again. */
  newId(): string
}

/**
 * @param timeoutMs of requests that name none; the library's own when it is left out
 * @throws INVALID_ARGUMENT; UNAVAILABLE when none of the peers answers
 */
export async function withClients<T>(
  peers: readonly string[],
  count: number,
  action: (clients: readonly KvClient[]) => Promise<T>,
  timeoutMs?: number,
): Promise<T> {
  const addresses = peers.map(parseAddress)
  const random = createSystemRandom()
  const effects = {
    clock: createSystemClock(),
    network: createSystemNetwork({ maxFrameBytes: MAX_FRAME_BYTES }),
    random,
  }
  const options = { peers: addresses, ...(timeoutMs === undefined ? {} : { timeoutMs }) }
  const clients = Array.from({ length: count }, () => createClient(options, effects))
  try {
    return await action(clients.map(({ service }) => ({ service, newId: random.id })))
  } catch (error) {
    throw advised(error, peers)
  } finally {
    for (const client of clients) client.close()
  }
}

export function withClient<T>(
  peers: readonly string[],
  action: (client: KvClient) => Promise<T>,
  timeoutMs?: number,
): Promise<T> {
  return withClients(peers, 1, ([client]) => action(client as KvClient), timeoutMs)
}

/** What a peer says of itself brings its own advice. */
function advised(error: unknown, peers: readonly string[]): unknown {
  if (!(error instanceof NoAnswer)) return error
  return new AdvisedError(
    error.code,
    error.message,
    `asked ${peers.join(', ')}; --peer HOST:PORT names another peer`,
  )
}
