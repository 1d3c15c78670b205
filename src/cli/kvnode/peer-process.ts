/**
 * One peer of `kvnode cluster`, as a process of its own. It starts without the command line's libraries: its
 * options come checked, as JSON. It ends when the process that started it is gone.
 */
import type { PeerOptions } from '../../config/option-table.ts'
import { describeFailure } from '../failure.ts'
import type { PeerMessage } from './peer-message.ts'
import { runPeer } from './run-peer.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as PeerOptions

try {
  await runPeer(options, {
    ready: (address) => tell({ type: 'ready', address }),
    orphaned: (stop) => process.once('disconnect', stop),
  })
} catch (error) {
  const { lines, exitCode } = describeFailure(error, 'kvnode cluster')
  tell({ type: 'failed', lines })
  process.exitCode = exitCode
}
if (process.connected) process.disconnect()

function tell(message: PeerMessage): void {
  if (process.connected) process.send?.(message)
}
