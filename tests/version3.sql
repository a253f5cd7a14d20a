BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE paretonas_architectures (
	"key" VARCHAR(32) NOT NULL, 
	description JSON NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "paretonas_architectures" VALUES('f1c62aec5e11c21580c60d3a8d59308a','{"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 8, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}');
INSERT INTO "paretonas_architectures" VALUES('57627f2a61ff0ab2bde2ffe92f80f101','{"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 4, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}');
CREATE TABLE paretonas_epochs (
	id INTEGER NOT NULL, 
	evaluation_id INTEGER NOT NULL, 
	phase VARCHAR(16) NOT NULL, 
	number INTEGER NOT NULL, 
	loss DOUBLE NOT NULL, 
	score DOUBLE NOT NULL, 
	seconds DOUBLE NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(evaluation_id) REFERENCES paretonas_evaluations (id) ON DELETE CASCADE
);
INSERT INTO "paretonas_epochs" VALUES(1,1,'train',0,2.15825057029724121093e+00,3.55555555555555569124e-01,6.63592760029132477939e-02);
INSERT INTO "paretonas_epochs" VALUES(2,2,'train',0,2.28052186965942382812e+00,2.55555555555555535818e-01,6.43361039983574301004e-02);
CREATE TABLE paretonas_evaluations (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	worker VARCHAR(256) NOT NULL, 
	host VARCHAR(256) NOT NULL, 
	started DATETIME NOT NULL, 
	trial_number INTEGER, 
	"key" VARCHAR(32), 
	candidate JSON, 
	architecture_key VARCHAR(32), 
	deployed_key VARCHAR(32), 
	task VARCHAR(256), 
	seed INTEGER, 
	threads INTEGER, 
	device VARCHAR(16), 
	kind VARCHAR(32), 
	reason VARCHAR, 
	seconds DOUBLE, 
	weights VARCHAR(256), 
	quantized VARCHAR(256), 
	reused INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES paretonas_studies (id) ON DELETE CASCADE, 
	FOREIGN KEY(architecture_key) REFERENCES paretonas_architectures ("key"), 
	FOREIGN KEY(deployed_key) REFERENCES paretonas_architectures ("key"), 
	FOREIGN KEY(reused) REFERENCES paretonas_evaluations (id) ON DELETE SET NULL
);
INSERT INTO "paretonas_evaluations" VALUES(1,1,'complete','vm/9344/1795338208.41','vm','2026-11-22 09:03:38.071513',0,'45e685496c6234e3609cda7fcda96a0d','{"architecture": {"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 8, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}, "pruning": 0.0, "training": {"epochs": 1, "finetune_epochs": 3, "finetune_rate": 1.0, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0, "dropout": 0.0, "augment": 0.0, "distillation": 0.0, "temperature": 4.0, "feature_distillation": 0.0}}','f1c62aec5e11c21580c60d3a8d59308a','f1c62aec5e11c21580c60d3a8d59308a','digits',0,1,'cpu',NULL,NULL,1.00669514229957712814e+01,'18fafcb5-aaa2-4a51-917b-30e865df2210',NULL,NULL);
INSERT INTO "paretonas_evaluations" VALUES(2,1,'complete','vm/9344/1795338208.41','vm','2026-11-22 09:03:48.351451',1,'8a5394a8e7231348cc4d26463c36d0b7','{"architecture": {"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 4, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}, "pruning": 0.0, "training": {"epochs": 1, "finetune_epochs": 3, "finetune_rate": 1.0, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0, "dropout": 0.0, "augment": 0.0, "distillation": 0.0, "temperature": 4.0, "feature_distillation": 0.0}, "compression": {"criterion": "l1", "scope": "layer", "removed_layers": 0, "sparsity": 0.0, "pattern": "global", "schedule": "one_shot", "self_distillation": 0.0, "bits": 8, "quantization": "static", "quantization_aware": false}}','57627f2a61ff0ab2bde2ffe92f80f101','57627f2a61ff0ab2bde2ffe92f80f101','digits',0,1,'cpu',NULL,NULL,2.58812543800013372674e+00,'6c3ee124-5c47-4e9d-86c3-36ffea0d7c1b','e546254c-ab29-4c94-8af6-a08feb237e37',NULL);
CREATE TABLE paretonas_hosts (
	name VARCHAR(256) NOT NULL, 
	threads INTEGER NOT NULL, 
	torch VARCHAR(64) NOT NULL, 
	cpu VARCHAR(256) NOT NULL, 
	reference_ms DOUBLE NOT NULL, 
	PRIMARY KEY (name, threads, torch)
);
INSERT INTO "paretonas_hosts" VALUES('vm',1,'2.15.0+cu132','Intel(R) Xeon(R) Processor',0.251073);
CREATE TABLE paretonas_measurements (
	evaluation_id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value DOUBLE NOT NULL, 
	detail JSON NOT NULL, 
	PRIMARY KEY (evaluation_id, name), 
	FOREIGN KEY(evaluation_id) REFERENCES paretonas_evaluations (id) ON DELETE CASCADE
);
INSERT INTO "paretonas_measurements" VALUES(1,'accuracy',3.55555555555555569124e-01,'{}');
INSERT INTO "paretonas_measurements" VALUES(1,'parameters',618.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(1,'macs',592.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(1,'latency_ms',7.15812828187903510412e-02,'{"latency_ms": 0.07158128281879035, "min_ms": 0.096171, "median_ms": 0.1308625, "reference_min_ms": 0.337322, "reference_ms": 0.251073, "samples": 200, "warm_up": 20, "batch": 1, "threads": 1, "backend": "torch eager", "host": "vm", "cpu": "Intel(R) Xeon(R) Processor", "torch": "2.15.0+cu132"}');
INSERT INTO "paretonas_measurements" VALUES(1,'onnx_latency_ms',3.92561474577781538419e-02,'{"latency_ms": 0.039256147457778154, "min_ms": 0.040355, "median_ms": 0.0924375, "reference_min_ms": 0.258101, "reference_ms": 0.251073, "samples": 200, "warm_up": 20, "batch": 1, "threads": 1, "backend": "onnxruntime 1.31.1", "host": "vm", "cpu": "Intel(R) Xeon(R) Processor", "torch": "2.15.0+cu132"}');
INSERT INTO "paretonas_measurements" VALUES(2,'accuracy',2.58333333333333359238e-01,'{}');
INSERT INTO "paretonas_measurements" VALUES(2,'parameters',314.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(2,'macs',296.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(2,'latency_ms',5.9076111931588515258e-02,'{"latency_ms": 0.059076111931588515, "min_ms": 0.093139, "median_ms": 0.1230975, "reference_min_ms": 0.39584, "reference_ms": 0.251073, "samples": 200, "warm_up": 20, "batch": 1, "threads": 1, "backend": "onnxruntime 1.31.1", "host": "vm", "cpu": "Intel(R) Xeon(R) Processor", "torch": "2.15.0+cu132"}');
INSERT INTO "paretonas_measurements" VALUES(2,'onnx_latency_ms',0.0625206735769698,'{"latency_ms": 0.0625206735769698, "min_ms": 0.093247, "median_ms": 0.119784, "reference_min_ms": 0.374465, "reference_ms": 0.251073, "samples": 200, "warm_up": 20, "batch": 1, "threads": 1, "backend": "onnxruntime 1.31.1", "host": "vm", "cpu": "Intel(R) Xeon(R) Processor", "torch": "2.15.0+cu132"}');
CREATE TABLE paretonas_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "paretonas_schema" VALUES(3);
CREATE TABLE paretonas_studies (
	id INTEGER NOT NULL, 
	name VARCHAR(512) NOT NULL, 
	definition JSON NOT NULL, 
	created DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "paretonas_studies" VALUES(1,'old','{"version": 3, "space": {"type": "mlp", "layers": 1, "blocks": "linear", "widths": [4, 8], "width_per": ["network", "layer"], "ratios": [1, 2, 4], "norms": "batch", "activations": "relu", "activation_per": "network", "slopes": 0.01, "embedding_widths": 8, "sharing": ["none", "all"], "sets": 2, "trunk": [0.5, 1.0], "pruning": 0.0, "training": {"epochs": 1, "finetune_epochs": 1, "finetune_rate": 1.0, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0, "dropout": 0.0, "augment": 0.0, "distillation": 0.5, "temperature": 4.0, "feature_distillation": 0.0}, "compression": {"criterion": "l1", "scope": "layer", "removed_layers": 0, "sparsity": 0.0, "pattern": "global", "schedule": "one_shot", "self_distillation": 0.0, "bits": [8, 32], "quantization": "static", "quantization_aware": false}}, "task": {"type": "digits"}, "objectives": ["accuracy", "latency_ms", "onnx_latency_ms"], "sampler": "tpe", "seed": 0, "threads": 1, "device": "cpu", "teacher": "", "moves": 0.0, "fingerprint": ""}','2026-11-22 09:03:37.415281');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'old');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MINIMIZE',1,1);
INSERT INTO "study_directions" VALUES(3,'MINIMIZE',1,2);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["accuracy", "latency_ms", "onnx_latency_ms"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8]}}');
INSERT INTO "trial_params" VALUES(2,1,'bits',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32]}}');
INSERT INTO "trial_params" VALUES(3,2,'width',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8]}}');
INSERT INTO "trial_params" VALUES(4,2,'bits',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'artifacts:18fafcb5-aaa2-4a51-917b-30e865df2210','"{\"artifact_id\": \"18fafcb5-aaa2-4a51-917b-30e865df2210\", \"filename\": \"net.safetensors\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(2,2,'artifacts:6c3ee124-5c47-4e9d-86c3-36ffea0d7c1b','"{\"artifact_id\": \"6c3ee124-5c47-4e9d-86c3-36ffea0d7c1b\", \"filename\": \"net.safetensors\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(3,2,'artifacts:e546254c-ab29-4c94-8af6-a08feb237e37','"{\"artifact_id\": \"e546254c-ab29-4c94-8af6-a08feb237e37\", \"filename\": \"net.int8.onnx\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'network','"flatten \u00b7 linear8"');
INSERT INTO "trial_user_attributes" VALUES(2,2,'network','"flatten \u00b7 linear4"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,3.55555555555555569124e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,1,1,7.15812828187903510412e-02,'FINITE');
INSERT INTO "trial_values" VALUES(3,1,2,3.92561474577781538419e-02,'FINITE');
INSERT INTO "trial_values" VALUES(4,2,0,2.58333333333333359238e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,2,1,5.9076111931588515258e-02,'FINITE');
INSERT INTO "trial_values" VALUES(6,2,2,0.0625206735769698,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-22 09:03:38.077558','2026-11-22 09:03:48.335498');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-22 09:03:48.362058','2026-11-22 09:03:51.091944');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX ix_paretonas_evaluations_key ON paretonas_evaluations ("key");
CREATE INDEX ix_paretonas_evaluations_study_id ON paretonas_evaluations (study_id);
CREATE INDEX ix_paretonas_epochs_evaluation_id ON paretonas_epochs (evaluation_id);
COMMIT;
