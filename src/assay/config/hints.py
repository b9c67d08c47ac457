"""Words that users of other tools type, and what to type here."""

# the key as typed (or its last part), and the advice
HINTS: dict[str, str] = {
    "lr": "the learning rate is optimizer.lr",
    "learning_rate": "the learning rate is optimizer.lr",
    "weight_decay": "weight decay is optimizer.weight_decay",
    "momentum": "momentum is optimizer.momentum, with optimizer=sgd",
    "epochs": "the number of epochs is trainer.max_epochs",
    "max_epochs": "the number of epochs is trainer.max_epochs",
    "num_epochs": "the number of epochs is trainer.max_epochs",
    "batch_size": "the batch size is data.batch_size",
    "bs": "the batch size is data.batch_size",
    "num_workers": "worker processes are data.num_workers",
    "workers": "worker processes are data.num_workers",
    "dataset": "the dataset is the group data: data=mnist",
    "net": "the network is the group model: model=mlp",
    "opt": "the optimizer is the group optimizer: optimizer=adam",
    "early_stopping": "a callback is a YAML in conf/callbacks: callbacks=early_stopping",
    "lr_scheduler": "the schedule is the group scheduler: scheduler=onecycle",
    "gpu": "the device is a group: device=gpu",
    "cuda": "the device is a group: device=gpu",
    "gpus": "the device is a group: device=gpu device.devices=2",
    "num_gpus": "the device is a group: device=gpu device.devices=2",
    "accelerator": "the device is a group: device=gpu, or device.accelerator=gpu",
    "devices": "the number of devices is device.devices",
    "precision": "the number format is device.precision",
    "strategy": "several devices share the work by DDP: device=ddp",
    "num_nodes": "one machine a run: device=ddp uses all its devices",
    "deterministic": "reproducible operations are device.deterministic=true",
    "accumulate_grad_batches": "batches are not accumulated: a larger data.batch_size does the same",
    "val_check_interval": "validation is by the epoch: trainer.check_val_every_n_epoch",
    "fast_dev_run": "for a quick try: trainer.max_epochs=1 trainer.limit_train_batches=10",
    "overfit_batches": "to see that a model can learn: trainer.overfit_batches=1",
    "enable_checkpointing": "checkpoints are always kept, in the run folder",
    "default_root_dir": "the folder of all results is output_dir",
    "logdir": "the folder of all results is output_dir",
    "ckpt_path": "weights to start from are ckpt=<run folder>, a run to continue is resume=<run folder>",
    "checkpoint": "weights to start from are ckpt=<run folder>, a run to continue is resume=<run folder>",
    "train": "what to do is stages: stages=[fit,test]",
    "test": "what to do is stages: stages=[test]",
    "stage": "what to do is stages: stages=[fit,test]",
    "run_name": "the word in the run folder's name is name",
    "experiment_name": "the word in the run folder's name is name",
}


def hint(key: str) -> str | None:
    """The advice for a word that belongs to another tool."""
    return HINTS.get(key) or HINTS.get(key.rpartition(".")[2])
