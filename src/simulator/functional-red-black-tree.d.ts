/**
 * The part of this library that the simulated disk uses. Trees are values: every change gives a new one and
 * shares what it can.
 */
declare module 'functional-red-black-tree' {
  export interface TreeIterator<K, V> {
    readonly valid: boolean
    readonly key: K | undefined
    readonly value: V | undefined
    next(): void
    prev(): void
    /** The tree with another value at this place. */
    update(value: V): Tree<K, V>
    /** The tree without this place. */
    remove(): Tree<K, V>
  }

  export interface Tree<K, V> {
    readonly length: number
    readonly begin: TreeIterator<K, V>
    readonly end: TreeIterator<K, V>
    get(key: K): V | undefined
    find(key: K): TreeIterator<K, V>
    ge(key: K): TreeIterator<K, V>
    gt(key: K): TreeIterator<K, V>
    le(key: K): TreeIterator<K, V>
    lt(key: K): TreeIterator<K, V>
    /** Keys already there are kept, as duplicates. */
    insert(key: K, value: V): Tree<K, V>
  }

  export default function createTree<K, V>(compare: (a: K, b: K) => number): Tree<K, V>
}
