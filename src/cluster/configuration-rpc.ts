/** What the configuration needs of the rest of the peer: questions to others, and who they are. */
import type { NodeId } from '../base/ids.ts'
import type { ConfigurationAnswer, ConfigurationQuestion } from '../wire/configuration-messages.ts'

export interface ConfigurationRpc {
  /**
   * Always settles, within about `timeoutMs`.
   * @throws UNAVAILABLE when it cannot be sent now; TIMEOUT_UNKNOWN when no answer came
   */
  call(to: NodeId, question: ConfigurationQuestion, timeoutMs: number): Promise<ConfigurationAnswer>
}

/** The membership, as this peer sees it. */
export interface PeerView {
  isAlive(nodeId: NodeId): boolean
  /** Everybody it knows of, members or not, itself excepted. */
  known(): readonly NodeId[]
  /** For people: its address, as far as known. */
  nameOf(nodeId: NodeId): string
}

export interface ConfigurationTiming {
  /** Peers that ask to join within this time of the first one join in one change. */
  readonly joinWindowMs: number
  /** How long a question may take. */
  readonly callTimeoutMs: number
  /** Until something that did not work is tried again. */
  readonly retryMs: number
  /** Until a change that waits for something is looked at again, at most. */
  readonly heldRetryMs: number
}

export const DEFAULT_CONFIGURATION_TIMING: ConfigurationTiming = {
  joinWindowMs: 150,
  callTimeoutMs: 1500,
  retryMs: 500,
  heldRetryMs: 250,
}
