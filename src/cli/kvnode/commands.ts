/** Every command of `kvnode`. They are small: what a command needs to run is loaded when it runs. */
import Cluster from './cluster.ts'
import Start from './start.ts'

export const COMMANDS = { start: Start, cluster: Cluster }
