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
INSERT INTO "paretonas_architectures" VALUES('6b6b141a49bddfc3bba9c61c000a5414','{"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 7, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}');
INSERT INTO "paretonas_architectures" VALUES('57627f2a61ff0ab2bde2ffe92f80f101','{"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 4, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}');
INSERT INTO "paretonas_architectures" VALUES('3ad65fcc135ddb9f938c7bc14d600b6b','{"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 2, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}');
CREATE TABLE paretonas_epochs (
	id INTEGER NOT NULL, 
	evaluation_id INTEGER NOT NULL, 
	phase VARCHAR(16) NOT NULL, 
	number INTEGER NOT NULL, 
	loss DOUBLE NOT NULL, 
	accuracy DOUBLE NOT NULL, 
	seconds DOUBLE NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(evaluation_id) REFERENCES paretonas_evaluations (id) ON DELETE CASCADE
);
INSERT INTO "paretonas_epochs" VALUES(1,1,'train',0,2.209014892578125e+00,4.05555555555555558022e-01,3.43483599990577204152e-02);
INSERT INTO "paretonas_epochs" VALUES(2,1,'train',1,1.71498441696167,5.8333333333333337034e-01,2.00556630006758496165e-02);
INSERT INTO "paretonas_epochs" VALUES(3,1,'finetune',0,1.68036222457885742187e+00,0.6,2.1412976999272359535e-02);
INSERT INTO "paretonas_epochs" VALUES(4,2,'train',0,2.32298731803894042968e+00,3.05555555555555580227e-01,1.35334670012525748461e-02);
INSERT INTO "paretonas_epochs" VALUES(5,2,'train',1,1.98934459686279296875e+00,4.41666666666666651863e-01,1.44199149999622022733e-02);
INSERT INTO "paretonas_epochs" VALUES(6,2,'finetune',0,2.09575939178466796875e+00,0.3,1.51048320003610569983e-02);
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
	reused INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES paretonas_studies (id) ON DELETE CASCADE, 
	FOREIGN KEY(architecture_key) REFERENCES paretonas_architectures ("key"), 
	FOREIGN KEY(deployed_key) REFERENCES paretonas_architectures ("key"), 
	FOREIGN KEY(reused) REFERENCES paretonas_evaluations (id) ON DELETE SET NULL
);
INSERT INTO "paretonas_evaluations" VALUES(1,1,'complete','vm/21379/1795314823.20','vm','2026-11-22 02:33:48.568220',0,'580d18e2d1bf1422df7905f53fb46989','{"architecture": {"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 8, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}, "pruning": 0.12898364449569114, "training": {"epochs": 2, "finetune_epochs": 1, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0}}','f1c62aec5e11c21580c60d3a8d59308a','6b6b141a49bddfc3bba9c61c000a5414','digits',0,1,'cpu',NULL,NULL,5.48338720100036880467e+00,'53e5e803-25c6-4bee-9fc2-9181eff8339b',NULL);
INSERT INTO "paretonas_evaluations" VALUES(2,1,'complete','vm/21379/1795314823.20','vm','2026-11-22 02:33:54.194991',1,'873b9aeddba4e32df55847cd262c34a5','{"architecture": {"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 4, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}, "pruning": 0.6840429071956436, "training": {"epochs": 2, "finetune_epochs": 1, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0}}','57627f2a61ff0ab2bde2ffe92f80f101','3ad65fcc135ddb9f938c7bc14d600b6b','digits',0,1,'cpu',NULL,NULL,6.94504789989878190681e-02,'516a621a-19db-4b2e-bc57-a699047cd95a',NULL);
CREATE TABLE paretonas_hosts (
	name VARCHAR(256) NOT NULL, 
	threads INTEGER NOT NULL, 
	torch VARCHAR(64) NOT NULL, 
	cpu VARCHAR(256) NOT NULL, 
	reference_ms DOUBLE NOT NULL, 
	PRIMARY KEY (name, threads, torch)
);
CREATE TABLE paretonas_measurements (
	evaluation_id INTEGER NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	value DOUBLE NOT NULL, 
	detail JSON NOT NULL, 
	PRIMARY KEY (evaluation_id, name), 
	FOREIGN KEY(evaluation_id) REFERENCES paretonas_evaluations (id) ON DELETE CASCADE
);
INSERT INTO "paretonas_measurements" VALUES(1,'accuracy',0.6,'{}');
INSERT INTO "paretonas_measurements" VALUES(1,'parameters',542.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(1,'macs',518.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(2,'accuracy',0.3,'{}');
INSERT INTO "paretonas_measurements" VALUES(2,'parameters',162.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(2,'macs',148.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(1,'test_accuracy',5.91666666666666674068e-01,'{}');
CREATE TABLE paretonas_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "paretonas_schema" VALUES(1);
CREATE TABLE paretonas_studies (
	id INTEGER NOT NULL, 
	name VARCHAR(512) NOT NULL, 
	definition JSON NOT NULL, 
	created DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "paretonas_studies" VALUES(1,'old','{"version": 1, "space": {"type": "mlp", "layers": 1, "widths": [4, 8], "width_per": ["network", "layer"], "norms": "batch", "activations": "relu", "sharing": ["none", "all"], "pruning": {"low": 0.0, "high": 0.7, "step": null, "log": false}, "training": {"epochs": 2, "finetune_epochs": 1, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0}}, "task": "digits", "objectives": ["accuracy", "parameters"], "sampler": "tpe", "seed": 0, "threads": 1, "device": "cpu"}','2026-11-22 02:33:48.367083');
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
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["accuracy", "parameters"]');
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
INSERT INTO "trial_params" VALUES(2,1,'pruning',1.28983644495691135434e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.7, "log": false}}');
INSERT INTO "trial_params" VALUES(3,2,'width',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8]}}');
INSERT INTO "trial_params" VALUES(4,2,'pruning',6.84042907195643645756e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.7, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'artifacts:53e5e803-25c6-4bee-9fc2-9181eff8339b','"{\"artifact_id\": \"53e5e803-25c6-4bee-9fc2-9181eff8339b\", \"filename\": \"net.safetensors\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(2,2,'artifacts:516a621a-19db-4b2e-bc57-a699047cd95a','"{\"artifact_id\": \"516a621a-19db-4b2e-bc57-a699047cd95a\", \"filename\": \"net.safetensors\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'network','"flatten \u00b7 linear7"');
INSERT INTO "trial_user_attributes" VALUES(2,2,'network','"flatten \u00b7 linear2"');
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
INSERT INTO "trial_values" VALUES(1,1,0,0.6,'FINITE');
INSERT INTO "trial_values" VALUES(2,1,1,542.0,'FINITE');
INSERT INTO "trial_values" VALUES(3,2,0,0.3,'FINITE');
INSERT INTO "trial_values" VALUES(4,2,1,162.0,'FINITE');
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
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-22 02:33:48.586797','2026-11-22 02:33:54.184523');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-22 02:33:54.203348','2026-11-22 02:33:54.328428');
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