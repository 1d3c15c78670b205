/** What a peer's process tells the one that started it. */
export type PeerMessage =
  | { readonly type: 'ready'; readonly address: string }
  | { readonly type: 'failed'; readonly lines: readonly string[] }
