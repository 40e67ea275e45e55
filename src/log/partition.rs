//! The Java clients' partitioner: murmur2 over the key bytes. Rows must land where a Java producer would put them, or
//! co-partitioned joins silently miss.
