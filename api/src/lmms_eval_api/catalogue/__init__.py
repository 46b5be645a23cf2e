"""What the evaluator image knows: `reader` reads its catalogue from the object store, `index` answers from it."""
