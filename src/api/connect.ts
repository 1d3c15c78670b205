/** A client of a running cluster on this machine's network. */
import { parseAddress } from '../base/ids.ts'
import { type Client, type ClientOptions, createClient } from '../client/client.ts'
import { createSystemClock } from '../platform/system-clock.ts'
import { createSystemRandom } from '../platform/system-random.ts'
import { createSystemNetwork } from '../platform/ws-network.ts'
import { MAX_FRAME_BYTES } from '../wire/frame.ts'
import { checkOptionNames, wrong } from '../wire/request-check.ts'

export interface ConnectOptions extends Omit<ClientOptions, 'peers'> {}

/**
 * Connects to a cluster by any of its peers; the others are learnt from them. Whoever connects closes the
 * client.
 * @param addresses `host:port` of one peer or several
 * @throws INVALID_ARGUMENT for what is no address; UNAVAILABLE when none of them answers
 */
export async function connect(
  addresses: string | readonly string[],
  options: ConnectOptions = {},
): Promise<Client> {
  const list = typeof addresses === 'string' ? [addresses] : addresses
  if (!Array.isArray(list)) throw wrong('the address', addresses, 'host:port, or a list of them')
  const peers = list.map(parseAddress)
  checkOptionNames(options, ['pinned', 'keyspace', 'timeoutMs'], 'connect')
  const effects = {
    clock: createSystemClock(),
    network: createSystemNetwork({ maxFrameBytes: MAX_FRAME_BYTES }),
    random: createSystemRandom(),
  }
  const client = createClient({ ...options, peers }, effects)
  try {
    // Asks something cheap, so that a wrong address shows here and not at the first request.
    await client.service.keyspaces()
    return client
  } catch (error) {
    client.close()
    throw error
  }
}
