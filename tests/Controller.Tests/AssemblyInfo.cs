// Each test of the process starts programs: two at a time are what two cores carry.
[assembly: CollectionBehavior(MaxParallelThreads = 2)]
