"""3DGAN, the source project's generator of showers, with the defects of its PyTorch code repaired.

Khattak et al., Eur. Phys. J. C 82 (2022) 386; facts from the public PyTorch code, which was not
copied. It is here to compare with: generative adversarial networks are the weakest class of models
in CaloChallenge, where a classifier tells theirs from Geant4's with an area of more than 0.92. A shower
needs 6 GFLOP, 0.1 to 0.2 s of a core, more than Geant4 below 20 to 40 GeV; in a training 80, with its
four steps. The twin's own model is the flow.

Repaired, each with a test:

- one sigmoid, inside the cross entropy, and not a second one before it;
- the discriminator's step does not go back through the generator, nor the generator's step into the
  weights of the discriminator, which saves a fifth of the training;
- showers are read when their batch comes, and not all beforehand;
- nothing needs ROOT;
- percentages are of the truth; the code divides by the prediction;
- the sum of a shower's cells is held against its own; by its arrays' shapes the code holds every sum
  against those of all showers of the batch;
- a layer without energy gives no gradient; the code divides nothing by nothing there;
- running statistics remember 99 % of what they were, as in the Keras original; the code hands Keras's
  number to PyTorch, where it means to forget 99 %;
- the angle is measured in mm; the code counts cells, which is right only for cells as long as wide.
"""
